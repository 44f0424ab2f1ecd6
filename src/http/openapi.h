/* openapi: the description of the interface (openapi.json), put into the program when it is built. */
#ifndef PM_OPENAPI_H
#define PM_OPENAPI_H

#include <stddef.h>

extern const unsigned char openapi_json[];
extern const size_t openapi_json_len;

#endif
