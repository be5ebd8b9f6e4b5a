# Holds the direction of dependencies: an engine folder includes only folders before it in LAYERS;
# tools/ and the public headers include nothing of the engine.
#   cmake -DROOT=<source dir> -P check_layers.cmake

cmake_minimum_required(VERSION 3.25)

set(LAYERS core simd kernels graph onnx ops passes plan runtime data audit surgery report)
set(violations "")

function(check_includes file allowed)
  file(STRINGS ${ROOT}/${file} includes REGEX "^ *# *include *\"")
  foreach(line IN LISTS includes)
    string(REGEX REPLACE "^ *# *include *\"([^\"]*)\".*" "\\1" path "${line}")
    string(REGEX REPLACE "/.*" "" folder "${path}")
    if(folder IN_LIST LAYERS AND NOT folder IN_LIST allowed)
      set(violations "${violations}\n  ${file} includes ${path}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

set(allowed "")
foreach(layer IN LISTS LAYERS)
  list(APPEND allowed ${layer})
  file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/engine/${layer}/*.?pp)
  foreach(source IN LISTS sources)
    check_includes(${source} "${allowed}")
  endforeach()
endforeach()
file(GLOB_RECURSE outside RELATIVE ${ROOT} ${ROOT}/tools/*.?pp ${ROOT}/include/*.hpp)
foreach(source IN LISTS outside)
  check_includes(${source} "")
endforeach()

if(violations)
  message(FATAL_ERROR "Includes against the direction of dependencies (${LAYERS}):${violations}")
endif()
