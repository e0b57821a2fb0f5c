# ring3_guest(NAME sources...): a 32-bit Multiboot kernel out of sources and guest/lib.
# Nothing of the host's build reaches it: no PIC, no sanitizer, no C library.

file(GLOB RING3_GUEST_LIB CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/lib/*.c ${CMAKE_CURRENT_LIST_DIR}/lib/*.S)

function(ring3_guest_flags name)
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF COMPILE_OPTIONS ""
    LINK_OPTIONS "" INTERPROCEDURAL_OPTIMIZATION OFF)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/..)
  target_compile_options(${name} PRIVATE -m32 -march=i686 -O2 -g -ffreestanding -fno-pic -fno-pie
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-sanitize=all
    $<$<COMPILE_LANGUAGE:C>:-std=gnu17 -fno-strict-aliasing
    -mgeneral-regs-only -fcf-protection=none -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-missing-field-initializers>)
endfunction()

add_library(ring3_guest_lib STATIC ${RING3_GUEST_LIB})
ring3_guest_flags(ring3_guest_lib)

function(ring3_guest name)
  add_executable(${name} ${ARGN} $<TARGET_OBJECTS:ring3_guest_lib>)
  ring3_guest_flags(${name})
  set_target_properties(${name} PROPERTIES SUFFIX .elf LINK_DEPENDS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/lib/guest.lds)
  target_link_options(${name} PRIVATE -m32 -nostdlib -static -fno-sanitize=all
    -Wl,-T,${CMAKE_CURRENT_FUNCTION_LIST_DIR}/lib/guest.lds -Wl,--build-id=none -Wl,-z,noexecstack
    -Wl,--no-warn-rwx-segments)
endfunction()
