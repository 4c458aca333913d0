# The rule of layers (docs/ARCHITECTURE.md): what a folder's files may include. Reads every #include
# "folder/..." line of the sources.
# usage: cmake -DROOT=folder of the repository -P layers.cmake
cmake_minimum_required(VERSION 3.20)

set(may_base base)
set(may_snapshots ${may_base} snapshots)
set(may_mmu ${may_snapshots} mmu)
set(may_cpu ${may_mmu} cpu)
# Of mmu/ only the physical memory map; of machine/ and cpu/ nothing.
set(may_devices ${may_snapshots} devices mmu/physmap.h)
set(may_machine ${may_cpu} devices machine roms include)
set(may_include)
set(may_frontend frontend include)
set(may_roms roms)

foreach(folder base snapshots mmu cpu devices machine include frontend roms)
  file(GLOB_RECURSE sources RELATIVE ${ROOT}
       ${ROOT}/${folder}/*.c ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.inc ${ROOT}/${folder}/*.def)
  if(NOT sources)
    message(SEND_ERROR "${folder}/ has no sources: has the tree changed?")
  endif()
  foreach(source ${sources})
    file(STRINGS ${ROOT}/${source} lines REGEX "^[ \t]*#[ \t]*include[ \t]*\"")
    foreach(line IN LISTS lines)
      string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*" "\\1" header "${line}")
      string(REGEX REPLACE "/.*" "" from "${header}")
      if(NOT EXISTS ${ROOT}/${header})
        message(SEND_ERROR "${source}: \"${header}\" is not named from the root")
      elseif(NOT from IN_LIST may_${folder} AND NOT header IN_LIST may_${folder})
        message(SEND_ERROR "${source}: ${folder}/ may not include \"${header}\"")
      endif()
    endforeach()
  endforeach()
endforeach()
