# Turns a text file into a C++ source that defines a std::string_view of it.
#   cmake -DINPUT=<file> -DOUTPUT=<.cpp> -DNAME=<variable> -P embed_text.cmake

cmake_minimum_required(VERSION 3.25)

file(READ ${INPUT} text)
if(text MATCHES "\\)ember_text\"")
  message(FATAL_ERROR "${INPUT} holds the end of its own literal")
endif()
file(WRITE ${OUTPUT} "#include \"report/embedded.hpp\"

namespace ember::report {
const std::string_view ${NAME} = R\"ember_text(${text})ember_text\";
}  // namespace ember::report
")
