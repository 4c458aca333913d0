# cmake -DIN=file -DOUT=file.c -DNAME=symbol -P embed.cmake: a binary file as a C array and its size.
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
file(WRITE ${OUT} "#include <stddef.h>\n#include <stdint.h>\nextern const uint8_t ${NAME}[];\n\
extern const size_t ${NAME}_size;\nconst uint8_t ${NAME}[] = {\n${hex}\n};\n\
const size_t ${NAME}_size = sizeof(${NAME});\n")
