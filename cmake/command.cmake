# SPDX-License-Identifier: MIT
# The attn command. zlib only serves `attn compute --compress`; without it the command says so.
# The man page and the completions are what the command says about itself.

add_executable(attn_cli ${CLI_SOURCES})
set_target_properties(attn_cli PROPERTIES OUTPUT_NAME attn)
attn_target(attn_cli)
target_link_libraries(attn_cli PRIVATE attn_static)
find_package(ZLIB QUIET)
if(ZLIB_FOUND)
    target_compile_definitions(attn_cli PRIVATE HAVE_ZLIB)
    target_link_libraries(attn_cli PRIVATE ZLIB::ZLIB)
endif()

if(NOT ATTN_SANITIZE AND PROJECT_IS_TOP_LEVEL
   AND (NOT CMAKE_CROSSCOMPILING OR CMAKE_CROSSCOMPILING_EMULATOR))
    set(ATTN_GENERATED attn.1 attn.bash _attn attn.fish)
    list(TRANSFORM ATTN_GENERATED PREPEND ${PROJECT_BINARY_DIR}/)
    add_custom_command(OUTPUT ${ATTN_GENERATED}
        COMMAND attn_cli help --man > attn.1
        COMMAND attn_cli completion bash > attn.bash
        COMMAND attn_cli completion zsh > _attn
        COMMAND attn_cli completion fish > attn.fish
        DEPENDS attn_cli WORKING_DIRECTORY ${PROJECT_BINARY_DIR} VERBATIM)
    add_custom_target(attn_generated ALL DEPENDS ${ATTN_GENERATED})
endif()
