# SPDX-License-Identifier: MIT
# ATTN_CBLAS: a BLAS that has the C interface, for src/tape/matmul_blas.c. What is linked goes to
# ATTN_BLAS_LIBRARIES; without the option nothing is looked for.

set(ATTN_BLAS_LIBRARIES "")
if(ATTN_CBLAS)
    include(CheckSymbolExists)
    find_package(BLAS REQUIRED)
    find_path(CBLAS_INCLUDE_DIR cblas.h PATH_SUFFIXES openblas REQUIRED)
    set(ATTN_BLAS_LIBRARIES ${BLAS_LIBRARIES})
    set(CMAKE_REQUIRED_INCLUDES ${CBLAS_INCLUDE_DIR})
    set(CMAKE_REQUIRED_LIBRARIES ${ATTN_BLAS_LIBRARIES})
    check_symbol_exists(cblas_sgemm cblas.h ATTN_BLAS_HAS_C)
    if(NOT ATTN_BLAS_HAS_C)
        message(FATAL_ERROR "ATTN_CBLAS: ${BLAS_LIBRARIES} has no cblas_sgemm")
    endif()
    unset(CMAKE_REQUIRED_INCLUDES)
    unset(CMAKE_REQUIRED_LIBRARIES)
    set_source_files_properties(src/tape/matmul_blas.c PROPERTIES
        COMPILE_DEFINITIONS ATTN_CBLAS INCLUDE_DIRECTORIES ${CBLAS_INCLUDE_DIR})
endif()
