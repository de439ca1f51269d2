#pragma once
// BG_SANITIZED is defined where AddressSanitizer or ThreadSanitizer is compiled in, with g++ and
// clang.

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BG_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BG_SANITIZED
#endif
#endif
