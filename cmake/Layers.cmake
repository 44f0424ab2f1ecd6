include("${CMAKE_SOURCE_DIR}/tests/race/environment.cmake")

# One library a folder. A library sees its own folder and the folders it names, nothing else, so an
# include in the wrong direction does not compile (ARCHITECTURE.md, "The house").

set(PM_WARNINGS
    -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
    -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2 -Wvla -Wimplicit-fallthrough
    -Wswitch-enum -Wnull-dereference -Wdouble-promotion)

# pm_layer(<folder> BELOW <folders it may include> LIBRARIES <outside libraries>)
function(pm_layer name)
  cmake_parse_arguments(ARG "" "" "BELOW;LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c")
  if(NOT sources)
    add_library(pm_${name} INTERFACE)
    target_include_directories(pm_${name} INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}/${name}")
    foreach(below IN LISTS ARG_BELOW)
      target_link_libraries(pm_${name} INTERFACE pm_${below})
    endforeach()
    target_link_libraries(pm_${name} INTERFACE ${ARG_LIBRARIES} Threads::Threads)
    return()
  endif()
  add_library(pm_${name} STATIC ${sources})
  target_include_directories(pm_${name} PUBLIC "${CMAKE_CURRENT_SOURCE_DIR}/${name}")
  target_compile_options(pm_${name} PRIVATE ${PM_WARNINGS} -Wconversion)
  foreach(below IN LISTS ARG_BELOW)
    target_link_libraries(pm_${name} PUBLIC pm_${below})
  endforeach()
  target_link_libraries(pm_${name} PUBLIC ${ARG_LIBRARIES} Threads::Threads)
endfunction()

# pm_unit_tests(<folder>): one Criterion program, unit_<folder>, of tests/unit/<folder>/*.c
function(pm_unit_tests name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/unit/${name}/*.c")
  if(NOT sources)
    return()
  endif()
  add_executable(unit_${name} ${sources})
  target_link_libraries(unit_${name} PRIVATE pm_${name} PkgConfig::CRITERION)
  target_compile_options(unit_${name} PRIVATE ${PM_WARNINGS} -Wno-missing-prototypes)
  if(name STREQUAL "service")
    target_link_libraries(unit_${name} PRIVATE pm_service)
  endif()
  add_test(NAME unit_${name} COMMAND unit_${name} -j2)
  set_tests_properties(unit_${name} PROPERTIES LABELS unit TIMEOUT 300
    ENVIRONMENT "${PM_SANITIZER_ENVIRONMENT}")
endfunction()
