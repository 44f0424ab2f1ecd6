# PackageModes.cmake: run by CPack when all files are in place and none is packed yet. Directories get the umask of whoever
# builds, which must not be that of every machine the package is installed on.
file(CHMOD_RECURSE "${CPACK_TEMPORARY_DIRECTORY}" DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
     GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
