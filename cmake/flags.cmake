# SPDX-License-Identifier: MIT
# How every C file of the project is compiled. attn_target(name) applies it.
#
# No -march and no -ffast-math anywhere: the first would let the compiler use instructions the
# machine may lack, the second deletes the tests for NaN and -inf that masking is made of.
# -ffp-contract=off: a fused multiply-add is written as one, or it is none.

set(ATTN_WARNINGS -Wall -Wextra -Wno-missing-field-initializers -Wpedantic -Wshadow -Wconversion -Wsign-conversion
    -Wdouble-promotion -Wundef -Wvla -Wcast-align -Wformat=2 -Wstrict-prototypes
    -Wmissing-prototypes $<$<BOOL:${ATTN_WERROR}>:-Werror>)

# Tests run with assertions, whatever the build type says. -g1: functions and lines, for whoever
# reads a stack or a profile; types and variables of kernels that are one function after inlining are
# fifteen times their code, and each of 150 programs would carry them.
set(ATTN_OPTIMISE $<$<CONFIG:Release>:-O2 -g1 -gz> $<$<BOOL:${ATTN_TESTS}>:-UNDEBUG>)

if(ATTN_SANITIZE)
    list(TRANSFORM ATTN_SANITIZE REPLACE "^fuzzer$" "fuzzer-no-link" OUTPUT_VARIABLE ATTN_CHECKS)
    list(JOIN ATTN_CHECKS "," ATTN_CHECKS)
    set(ATTN_CHECKS -fsanitize=${ATTN_CHECKS} -fno-sanitize-recover=all -fno-omit-frame-pointer)
endif()

function(attn_target name)
    set_target_properties(${name} PROPERTIES
        C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
        C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
    target_compile_options(${name} PRIVATE
        "${ATTN_WARNINGS}" "${ATTN_OPTIMISE}" -ffp-contract=off ${ATTN_CHECKS})
    target_link_options(${name} PRIVATE $<$<CONFIG:Release>:-gz> ${ATTN_CHECKS})
endfunction()

# One file, one instruction set: a kernel table is only called after the CPU was asked.
# Under UBSan each load of these unrolled loops would bring four checks along, and a table take six
# minutes to build; AddressSanitizer sees what they would, and tests give pointers that are not
# aligned.
set(ATTN_FLAGS_KERNEL $<$<CONFIG:Release>:-O3>
    $<$<BOOL:${ATTN_SANITIZE}>:-fno-sanitize=null,alignment,object-size,pointer-overflow>)
set(ATTN_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(ATTN_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
    -mprefer-vector-width=512)
set(ATTN_FLAGS_avx512vnni ${ATTN_FLAGS_avx512} -mavx512vnni)
foreach(bits 128 256 512)
    set(ATTN_FLAGS_sve${bits} -march=armv8.2-a+sve -msve-vector-bits=${bits})
endforeach()
foreach(isa IN LISTS ATTN_ISAS)
    set_source_files_properties(${KERNEL_${isa}_SOURCES} ${VEC_${isa}_SOURCES} PROPERTIES
        COMPILE_OPTIONS "${ATTN_FLAGS_KERNEL};${ATTN_FLAGS_${isa}}"
        INCLUDE_DIRECTORIES ${PROJECT_SOURCE_DIR}/src/kernel) # "vec/...", "body/..."
endforeach()

# Loops over elements, which want to become vectors of the least instruction set.
set_source_files_properties(src/tape/ops_f32.c src/tape/ops_f64.c src/tape/walk.c PROPERTIES
    COMPILE_OPTIONS "${ATTN_FLAGS_KERNEL}")

# A fuzzer guesses from the numbers that are compared. In these rooms they are those of loops, not
# of a file's bytes: to trace them takes a third of a run.
if("fuzzer" IN_LIST ATTN_SANITIZE)
    set_property(SOURCE ${BASE_SOURCES} ${KERNEL_SOURCES} ${ENGINE_SOURCES} APPEND PROPERTY
        COMPILE_OPTIONS -fno-sanitize-coverage=trace-cmp)
endif()
