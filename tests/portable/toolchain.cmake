# A build for another architecture: Debian's cross compiler, the libraries of mksysroot, everything
# static, and tests under qemu-user. tests/portable/build calls it:
#     cmake -S . -B DIR -DCMAKE_TOOLCHAIN_FILE=tests/portable/toolchain.cmake
#           -DPORTABLE_ARCH=aarch64|s390x -DPORTABLE_SYSROOTS=FOLDER
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES PORTABLE_ARCH PORTABLE_SYSROOTS)
set(debian_aarch64 arm64)
set(debian_s390x s390x)
set(root ${PORTABLE_SYSROOTS}/${debian_${PORTABLE_ARCH}})
set(triplet ${PORTABLE_ARCH}-linux-gnu)

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${PORTABLE_ARCH})
set(CMAKE_C_COMPILER ${triplet}-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE ${triplet})
set(CMAKE_C_FLAGS_INIT "-isystem ${root}/usr/include/${triplet}") # gmp.h
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${PORTABLE_ARCH}-static)

# Headers and libraries come from there; programs (nasm, iasl) from the system that builds.
set(CMAKE_FIND_ROOT_PATH ${root})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} ${root}/usr/lib/${triplet}/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${root})
set(PKG_CONFIG_ARGN --static)
