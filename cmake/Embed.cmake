# pm_embed(<target> <file> <symbol> <header>): compiles a file's bytes into a library as `symbol` and `symbol_len`, which the header
# declares. Included for the function; run as a script (cmake -P) it writes the C file.
if(CMAKE_SCRIPT_MODE_FILE)
  file(READ "${PM_EMBED_FILE}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  file(WRITE "${PM_EMBED_OUT}"
       "#include \"${PM_EMBED_HEADER}\"\nconst unsigned char ${PM_EMBED_SYMBOL}[] = {${bytes}};\n"
       "const size_t ${PM_EMBED_SYMBOL}_len = sizeof ${PM_EMBED_SYMBOL};\n")
  return()
endif()

set(PM_EMBED_SCRIPT "${CMAKE_CURRENT_LIST_FILE}")

function(pm_embed target file symbol header)
  set(out "${CMAKE_CURRENT_BINARY_DIR}/${symbol}.c")
  add_custom_command(OUTPUT "${out}"
    COMMAND "${CMAKE_COMMAND}" "-DPM_EMBED_FILE=${CMAKE_CURRENT_SOURCE_DIR}/${file}" "-DPM_EMBED_OUT=${out}"
            "-DPM_EMBED_SYMBOL=${symbol}" "-DPM_EMBED_HEADER=${header}" -P "${PM_EMBED_SCRIPT}"
    DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}" "${PM_EMBED_SCRIPT}" VERBATIM)
  target_sources(${target} PRIVATE "${out}")
endfunction()
