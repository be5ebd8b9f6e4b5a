# `cmake --install` gives the libraries, the headers, the command and the package that find_package(ember)
# finds: targets ember::ember (static) and ember::shared.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/ember)
set_target_properties(ember_static PROPERTIES EXPORT_NAME ember)
set_target_properties(ember_shared PROPERTIES EXPORT_NAME shared)
install(TARGETS ember_static ember_shared EXPORT ember)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ember DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT ember NAMESPACE ember:: FILE emberTargets.cmake DESTINATION ${package_folder})
if(EMBER_BUILD_TOOLS)
  install(TARGETS ember)
  if(EMBER_WITH_MPI)
    install(TARGETS ember_mpi)
  endif()
endif()

configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/cmake/emberConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/emberConfig.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/emberConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/emberConfig.cmake ${PROJECT_BINARY_DIR}/package/emberConfigVersion.cmake
  DESTINATION ${package_folder})
