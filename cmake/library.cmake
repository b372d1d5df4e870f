# SPDX-License-Identifier: MIT
# libattn.so and libattn.a, from the same objects.

add_library(attn_objects OBJECT
    ${BASE_SOURCES} ${KERNEL_SOURCES} ${ENGINE_SOURCES} ${TAPE_SOURCES} ${MECH_SOURCES}
    ${EXPLAIN_SOURCES}
    ${IO_SOURCES})
attn_target(attn_objects)
target_compile_definitions(attn_objects PRIVATE ATTN_BUILDING)
target_include_directories(attn_objects PRIVATE include src)

add_library(attn SHARED $<TARGET_OBJECTS:attn_objects>)
attn_target(attn)
set_target_properties(attn PROPERTIES VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${PROJECT_SOURCE_DIR}/attn.map)
target_link_options(attn PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/attn.map)
if(NOT ATTN_SANITIZE) # their runtimes are found when a program is linked, not before
    target_link_options(attn PRIVATE LINKER:-z,defs)
endif()
target_link_libraries(attn PRIVATE m Threads::Threads ${ATTN_BLAS_LIBRARIES})

add_library(attn_static STATIC $<TARGET_OBJECTS:attn_objects>)
set_target_properties(attn_static PROPERTIES OUTPUT_NAME attn)
target_link_libraries(attn_static PUBLIC m Threads::Threads ${ATTN_BLAS_LIBRARIES})

foreach(library attn attn_static)
    set_target_properties(${library} PROPERTIES LINKER_LANGUAGE C)
    target_include_directories(${library} PUBLIC
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    add_library(attn::${library} ALIAS ${library})
endforeach()

# What tests link: they open private headers, so the library of the public symbols will not do.
# With sanitizers its code is four times as long: 150 programs share one that shows everything.
set(ATTN_INSIDE attn_static)
if(ATTN_SANITIZE AND ATTN_TESTS)
    set(ATTN_INSIDE attn_inside)
    set_target_properties(attn_objects PROPERTIES C_VISIBILITY_PRESET default)
    add_library(attn_inside SHARED $<TARGET_OBJECTS:attn_objects>)
    attn_target(attn_inside)
    target_link_libraries(attn_inside PUBLIC m Threads::Threads ${ATTN_BLAS_LIBRARIES})
    target_include_directories(attn_inside PUBLIC ${PROJECT_SOURCE_DIR}/include)
endif()
