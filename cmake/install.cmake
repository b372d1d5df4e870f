# SPDX-License-Identifier: MIT
# What `cmake --install` puts where: the names of GNUInstallDirs, DESTDIR and --prefix honoured.
# attn.pc and the CMake package find their prefix from their own place, so a tree may be moved.

include(CMakePackageConfigHelpers)
set(ATTN_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/attn)

install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(TARGETS attn attn_static EXPORT attnTargets)
install(TARGETS attn_cli)
install(EXPORT attnTargets NAMESPACE attn:: DESTINATION ${ATTN_PACKAGE_DIR})

configure_package_config_file(cmake/attnConfig.cmake.in attnConfig.cmake
    INSTALL_DESTINATION ${ATTN_PACKAGE_DIR})
write_basic_package_version_file(attnConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/attnConfig.cmake
        ${PROJECT_BINARY_DIR}/attnConfigVersion.cmake DESTINATION ${ATTN_PACKAGE_DIR})

set(ATTN_PC_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH ATTN_PC_PREFIX /prefix/${ATTN_PC_DIR} /prefix)
list(TRANSFORM ATTN_BLAS_LIBRARIES PREPEND " " OUTPUT_VARIABLE ATTN_PC_BLAS)
list(JOIN ATTN_PC_BLAS "" ATTN_PC_BLAS)
configure_file(cmake/attn.pc.in attn.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/attn.pc DESTINATION ${ATTN_PC_DIR})

if(ATTN_GENERATED)
    install(FILES ${PROJECT_BINARY_DIR}/attn.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${PROJECT_BINARY_DIR}/attn.bash RENAME attn
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES ${PROJECT_BINARY_DIR}/_attn
            DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES ${PROJECT_BINARY_DIR}/attn.fish
            DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
