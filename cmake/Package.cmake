# Package.cmake: what `cmake --install` installs beside the program, and the Debian package that CPack makes of it:
#
#   cmake --preset release -DPM_TESTS=OFF && cmake --build --preset release --target package
#
# dpkg-shlibdeps (package dpkg-dev) finds out which libraries it depends on. Where the files of deploy/ are not there (an
# image's build takes only the sources) only the program can be installed.
set(PM_DEPLOY "${CMAKE_SOURCE_DIR}/deploy")
if(NOT EXISTS "${PM_DEPLOY}/debian/changelog")
  return()
endif()

# Debian wants manual pages and changelogs packed, always to the same bytes.
function(pm_pack file name)
  execute_process(COMMAND gzip -9nc "${file}" OUTPUT_FILE "${CMAKE_BINARY_DIR}/package/${name}" RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "gzip could not pack ${file}")
  endif()
  set_property(DIRECTORY "${CMAKE_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
endfunction()
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/package")
pm_pack("${PM_DEPLOY}/man/position-manager.8" position-manager.8.gz)
pm_pack("${PM_DEPLOY}/debian/changelog" changelog.gz)

install(FILES "${PM_DEPLOY}/systemd/position-manager.service" DESTINATION lib/systemd/system)
install(FILES "${PM_DEPLOY}/env.example" DESTINATION /etc/position-manager RENAME position-manager.env
        PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)
install(FILES "${CMAKE_BINARY_DIR}/package/position-manager.8.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man8")
install(FILES "${CMAKE_BINARY_DIR}/package/changelog.gz" "${PM_DEPLOY}/debian/copyright" "${PM_DEPLOY}/env.example"
        DESTINATION "${CMAKE_INSTALL_DOCDIR}")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME position-manager)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "The position-manager developers <dev@position-manager.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "positions of a trading system, kept exactly once")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"position-manager takes order executions and market data from RabbitMQ, keeps
every position in PostgreSQL together with a journal of all that changed it,
announces each committed change, and serves positions and exact portfolio
figures over HTTP/1.1 and HTTP/2.
.
An execution counts once, however often it is delivered and whatever dies in
between. PostgreSQL and RabbitMQ may run elsewhere.")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql (>= 14), rabbitmq-server")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${PM_DEPLOY}/debian/postinst" "${PM_DEPLOY}/debian/prerm"
    "${PM_DEPLOY}/debian/postrm" "${PM_DEPLOY}/debian/conffiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_SOURCE_DIR}/cmake/PackageModes.cmake")
include(CPack)
