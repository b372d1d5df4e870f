# SPDX-License-Identifier: MIT
# One libFuzzer program per fuzz/fuzz_<format>.c. Comparisons are traced for the fuzzer to guess
# from where bytes are compared, in the readers of files; loops of the engine would only be slow.

foreach(name IN LISTS FUZZ_TARGETS)
    add_executable(${name} fuzz/${name}.c)
    attn_target(${name})
    target_compile_options(${name} PRIVATE -fno-sanitize-coverage=trace-cmp)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE attn_static)
    target_include_directories(${name} PRIVATE tests)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY fuzz)
endforeach()
