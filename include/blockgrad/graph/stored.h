#pragma once
// Stored: the storage behind a parameter or state. Every Program made from the leaf reads and
// updates the same value. Programs that only read it may run together; one that updates it needs it
// alone, which is checked.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "blockgrad/graph/tensor.h"

namespace blockgrad {

class Stored {
 public:
  /// The value in a device's memory.
  class Mirror {
   public:
    virtual ~Mirror() = default;
    /// Copies it to the host, when all that was asked of the device is done.
    virtual void fetch(std::byte* to) = 0;
    /// The version() of the value that it holds.
    std::uint64_t version = 0;
  };

  Stored(const Tensor& initial, std::string name);

  const std::string& name() const { return name_; }
  const TensorType& type() const { return type_; }
  /// Counts writes by host and programs; another form of the value (packed, on a device) knows by
  /// it that it is old.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

  /// A copy of the value. Throws Error while a program updates it.
  Tensor value() const;
  /// Throws Error if the type differs, a program is using it, or its check refuses the value.
  void set_value(const Tensor& value);
  /// Writes values[i] to storages[i], all of them or none. Throws Error like set_value.
  static void set_values(std::span<const std::shared_ptr<Stored>> storages,
                         std::span<const Tensor> values);
  /// `check` sees each value that the host, or a file, is about to write, and throws to refuse it;
  /// programs are not asked. Comes before the storage is shared between threads.
  void set_check(std::function<void(const Tensor&)> check) { check_ = std::move(check); }

  /// For programs: the host's bytes, and the right to use them. `lock` answers false if somebody
  /// else holds them. Who locks for the host brings the value home before it reads the bytes.
  std::byte* bytes() const { return data_.get(); }
  void bring_home() const {
    if (is_away_.load(std::memory_order_acquire)) fetch();
  }
  bool lock_shared() const;
  void unlock_shared() const;
  bool lock_exclusive() const;
  void unlock_exclusive() const;
  void bump_version() { version_.fetch_add(1, std::memory_order_acq_rel); }
  /// For who holds it alone: the value, without the check.
  void write(const Tensor& value);
  /// For who holds it alone: the mirror has the next version of the value, the host has not.
  void set_away(std::shared_ptr<Mirror> mirror);
  /// What a device has of it, of any version; null if there is none.
  std::shared_ptr<Mirror> mirror() const;
  /// The same, or `fresh` from now on where there is none.
  std::shared_ptr<Mirror> mirror_or(std::shared_ptr<Mirror> fresh) const;

 private:
  void fetch() const;

  std::string name_;
  TensorType type_;
  std::shared_ptr<std::byte> data_;
  std::function<void(const Tensor&)> check_;
  mutable std::mutex mirror_mutex_;
  mutable std::shared_ptr<Mirror> mirror_;
  mutable std::atomic<bool> is_away_{false};  // only the mirror has the value
  std::atomic<std::uint64_t> version_{1};
  mutable std::atomic<std::int32_t> users_{0};  // readers, or -1: one writer
};

}  // namespace blockgrad
