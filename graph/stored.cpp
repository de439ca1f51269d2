#include "blockgrad/graph/stored.h"

#include <cstring>

namespace blockgrad {

Stored::Stored(const Tensor& initial, std::string name)
    : name_(std::move(name)), type_(initial.type()), data_(allocate_bytes(bytes_of(type_))) {
  std::memcpy(data_.get(), initial.bytes(), static_cast<std::size_t>(bytes_of(type_)));
}

Tensor Stored::value() const {
  auto copy = allocate_bytes(bytes_of(type_));
  require(lock_shared(), "'", name_,
          "' is being updated by a running program; read it after the run");
  try {
    bring_home();
  } catch (...) {
    unlock_shared();
    throw;
  }
  std::memcpy(copy.get(), data_.get(), static_cast<std::size_t>(bytes_of(type_)));
  unlock_shared();
  return adopt(type_, std::move(copy));
}

void Stored::set_value(const Tensor& value) {
  require(value.type() == type_, "'", name_, "' holds ", to_string(type_), ", got ",
          to_string(value.type()));
  if (check_) check_(value);
  require(lock_exclusive(), "'", name_, "' is in use by a running program; write it between runs");
  write(value);
  unlock_exclusive();
}

void Stored::fetch() const {
  const std::lock_guard lock(mirror_mutex_);
  if (!is_away_.load(std::memory_order_relaxed)) return;
  mirror_->fetch(data_.get());
  is_away_.store(false, std::memory_order_release);
}

void Stored::set_away(std::shared_ptr<Mirror> mirror) {
  const std::lock_guard lock(mirror_mutex_);
  mirror_ = std::move(mirror);
  mirror_->version = version() + 1;
  is_away_.store(true, std::memory_order_release);
}

std::shared_ptr<Stored::Mirror> Stored::mirror() const {
  const std::lock_guard lock(mirror_mutex_);
  return mirror_;
}

std::shared_ptr<Stored::Mirror> Stored::mirror_or(std::shared_ptr<Mirror> fresh) const {
  const std::lock_guard lock(mirror_mutex_);
  if (!mirror_) mirror_ = std::move(fresh);
  return mirror_;
}

void Stored::write(const Tensor& value) {
  is_away_.store(false, std::memory_order_release);
  std::memcpy(data_.get(), value.bytes(), static_cast<std::size_t>(bytes_of(type_)));
  bump_version();
}

void Stored::set_values(std::span<const std::shared_ptr<Stored>> storages,
                        std::span<const Tensor> values) {
  check_internal(storages.size() == values.size(), "values for other storages");
  for (std::size_t i = 0; i < storages.size(); ++i) {
    const Stored& storage = *storages[i];
    if (storage.check_ && values[i].type() == storage.type_) storage.check_(values[i]);
  }
  std::size_t locked = 0;
  const auto unlock = [&] {
    while (locked > 0) storages[--locked]->unlock_exclusive();
  };
  for (std::size_t i = 0; i < storages.size(); ++i) {
    const Stored& storage = *storages[i];
    const bool fits = values[i].type() == storage.type_;
    if (fits && storage.lock_exclusive()) {
      ++locked;
      continue;
    }
    unlock();
    fail({"'", storage.name_,
          fits ? "' is in use by a running program; write it between runs" : "' has another type"});
  }
  for (std::size_t i = 0; i < storages.size(); ++i) storages[i]->write(values[i]);
  unlock();
}

bool Stored::lock_shared() const {
  std::int32_t users = users_.load(std::memory_order_relaxed);
  while (users >= 0) {
    if (users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void Stored::unlock_shared() const { users_.fetch_sub(1, std::memory_order_release); }

bool Stored::lock_exclusive() const {
  std::int32_t idle = 0;
  return users_.compare_exchange_strong(idle, -1, std::memory_order_acquire);
}

void Stored::unlock_exclusive() const { users_.store(0, std::memory_order_release); }

}  // namespace blockgrad
