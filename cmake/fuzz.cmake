# SPDX-License-Identifier: MIT
# One libFuzzer program per fuzz/fuzz_<format>.c.

foreach(name IN LISTS FUZZ_TARGETS)
    add_executable(${name} fuzz/${name}.c)
    attn_target(${name})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${name} PRIVATE attn_static)
    target_include_directories(${name} PRIVATE tests)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY fuzz)
endforeach()
