# SPDX-License-Identifier: MIT
# One program per tests/test_<topic>.c, linked with the static library (ATTN_INSIDE) because a test
# may use the private header of its room. tests.list (name, tab, command) is what
# tools/run_tests.py runs.

enable_testing()
find_path(CMOCKA_INCLUDE_DIR cmocka.h REQUIRED)
find_library(CMOCKA_LIBRARY cmocka REQUIRED)

# Tests may use all of glibc. Defined as empty, as a file that says so itself does it.
function(attn_test_target name)
    attn_target(${name})
    target_compile_definitions(${name} PRIVATE _GNU_SOURCE=)
    target_include_directories(${name} PRIVATE tests include)
    target_include_directories(${name} SYSTEM PRIVATE ${CMOCKA_INCLUDE_DIR})
endfunction()

# The oracles see the public types only.
add_library(attn_oracle OBJECT ${ORACLE_SOURCES})
attn_test_target(attn_oracle)
add_library(attn_support OBJECT ${TEST_SUPPORT_SOURCES})
attn_test_target(attn_support)
add_library(attn_testing STATIC $<TARGET_OBJECTS:attn_oracle> $<TARGET_OBJECTS:attn_support>)
set_target_properties(attn_testing PROPERTIES LINKER_LANGUAGE C)
target_link_libraries(attn_testing PUBLIC ${ATTN_INSIDE} ${CMOCKA_LIBRARY})

foreach(name IN LISTS TEST_PROGRAMS TEST_HELPERS)
    add_executable(${name} tests/${name}.c)
    attn_test_target(${name})
    target_include_directories(${name} PRIVATE src)
    target_link_libraries(${name} PRIVATE attn_testing)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests)
endforeach()

foreach(isa IN LISTS ATTN_ISAS)
    target_sources(test_vec PRIVATE ${VEC_${isa}_SOURCES})
endforeach()

foreach(name test_tape_bits test_tape_ops)
    target_sources(${name} PRIVATE ${TAPE_ORACLE_SOURCES})
endforeach()

# The second account of every mechanism, and what walks them.
add_library(attn_gallery STATIC ${MECH_ORACLE_SOURCES} ${GALLERY_SUPPORT_SOURCES})
attn_test_target(attn_gallery)
target_link_libraries(attn_gallery PUBLIC attn_testing)
set(GALLERY_PROGRAMS ${TEST_PROGRAMS})
list(FILTER GALLERY_PROGRAMS INCLUDE REGEX "^test_gallery")
foreach(name IN LISTS GALLERY_PROGRAMS)
    target_link_libraries(${name} PRIVATE attn_gallery)
endforeach()

# A finding of the fuzzer, again, without it.
foreach(name IN LISTS FUZZ_TARGETS)
    add_executable(replay_${name} fuzz/${name}.c fuzz/replay.c)
    attn_test_target(replay_${name})
    target_link_libraries(replay_${name} PRIVATE ${ATTN_INSIDE})
    set_target_properties(replay_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY fuzz)
endforeach()

set(ATTN_TEST_LIST "")
foreach(name IN LISTS TEST_PROGRAMS)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    string(APPEND ATTN_TEST_LIST "${name}\t$<TARGET_FILE:${name}>\n")
endforeach()
foreach(script IN LISTS TEST_SCRIPTS)
    cmake_path(GET script STEM name)
    string(APPEND ATTN_TEST_LIST "${name}\tpython3 ${PROJECT_SOURCE_DIR}/${script}\n")
endforeach()
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/tests.list CONTENT "${ATTN_TEST_LIST}")

foreach(name IN LISTS EXAMPLES)
    add_executable(example_${name} examples/${name}.c)
    attn_target(example_${name})
    target_link_libraries(example_${name} PRIVATE attn_static)
    set_target_properties(example_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY examples)
endforeach()
