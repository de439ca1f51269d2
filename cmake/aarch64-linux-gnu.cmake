# Toolchain: Debian's cross compiler; programs run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L /usr/aarch64-linux-gnu)
# Of these only headers are used, so the packages of the building machine serve.
file(GLOB fmt_DIR /usr/lib/*/cmake/fmt)
# There is no zlib for the other processor.
set(BLOCKGRAD_ZLIB OFF)
set(BLOCKGRAD_BOOST_INCLUDE /usr/include)
