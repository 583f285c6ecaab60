/* libcuda.so.1 for a machine without one: the C functions that cuda.bindings calls for
   jitgraph.runtime.cuda, with the host's memory as the device's. Handles are known numbers, and
   whoever is given another one refuses it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void *P;
typedef uint64_t D;
enum { OK, INVALID, MEMORY, BAD_PTX = 218, BAD_CONTEXT = 201, BAD_HANDLE = 400 };
/* Of two GPUs: 0x770, 0x771 and so on. The streams of GPU 0 are 0x660, 0x662 ..., the odd ones are
   those of GPU 1. */
#define GPU(handle) ((int)(uintptr_t)(handle) & 1)
#define CONTEXT 0x770
#define STREAM 0x660
#define POOL 0x550
#define IS(handle, kind) (((uintptr_t)(handle) & ~(uintptr_t)15) == (kind))
#define HERE(stream) (IS(stream, STREAM) && IS(current, CONTEXT) && GPU(stream) == GPU(current))
#define MODULE ((P)0x99)

#define NEEDS_CONTEXT if (!IS(current, CONTEXT)) return stub_wrong++, BAD_CONTEXT;

static long events, modules, streams;
static __thread P current;

/* What the test asks about. */
long stub_events(void) { return events; }
long stub_modules(void) { return modules; }
uint64_t stub_threshold;
int stub_dynamic, stub_launches, stub_peers, stub_access, stub_wrong;
void *stub_current(void) { return current; }

int cuInit(unsigned flags) { return flags ? INVALID : OK; }
int cuDriverGetVersion(int *version) { return *version = 12040, OK; }
int cuDeviceGetCount(int *count) { return *count = 2, OK; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, OK; }
int cuDeviceGetName(char *name, int size, int device) { return strncpy(name, "Stub", size), OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 75: return *value = 9, OK;       /* capability */
    case 76: return *value = 0, OK;
    case 16: return *value = 132, OK;     /* multiprocessors */
    case 97: return *value = 232448, OK;  /* shared memory */
    case 115: return *value = 1, OK;      /* memory pools */
    }
    return INVALID;
}
int cuDevicePrimaryCtxRetain(P *context, int device) {
    return *context = (P)(uintptr_t)(CONTEXT + device), OK;
}
int cuCtxSetCurrent(P context) {
    return current = context, !context || IS(context, CONTEXT) ? OK : BAD_CONTEXT;
}
int cuCtxGetCurrent(P *context) { return *context = current, OK; }
int cuStreamCreate(P *stream, unsigned flags) {
    NEEDS_CONTEXT
    *stream = (P)(uintptr_t)(STREAM + 2 * streams++ + GPU(current));
    return flags == 1 && IS(current, CONTEXT) ? OK : INVALID;
}
int cuStreamSynchronize(P stream) { return HERE(stream) ? OK : BAD_HANDLE; }
int cuStreamWaitEvent(P stream, P event, unsigned flags) {
    NEEDS_CONTEXT
    return event ? OK : BAD_HANDLE;
}
int cuDeviceGetDefaultMemPool(P *pool, int device) {
    return *pool = (P)(uintptr_t)(POOL + device), OK;
}
int cuMemPoolSetAttribute(P pool, int attribute, void *value) {
    stub_threshold = *(uint64_t *)value;
    return IS(pool, POOL) && attribute == 4 ? OK : INVALID;
}
int cuMemPoolSetAccess(P pool, const int *map, size_t count) {
    if (count == 1 && map[0] == 1 && map[2] == 3) stub_access = 16 * GPU(pool) + map[1];
    return OK;
}
int cuMemPoolTrimTo(P pool, size_t kept) { return IS(pool, POOL) && !kept ? OK : INVALID; }
int cuDeviceCanAccessPeer(int *can, int device, int peer) { return *can = 1, OK; }
int cuMemcpyPeerAsync(D to, P there, D from, P here, size_t size, P stream) {
    stub_peers++;
    memcpy((P)to, (P)from, size);
    return HERE(stream) && there == current && here != there ? OK : INVALID;
}
int cuMemGetInfo_v2(size_t *left, size_t *total) {
    NEEDS_CONTEXT
    return *left = 1000, *total = 2000, OK;
}
int cuMemHostAlloc(P *memory, size_t size, unsigned flags) {
    NEEDS_CONTEXT
    return *memory = malloc(size), OK;
}
int cuGetErrorName(int code, const char **name) {
    return *name = code == BAD_PTX ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR_OTHER", OK;
}
int cuGetErrorString(int code, const char **text) { return *text = "as the driver says", OK; }
int cuModuleLoadDataEx(P *module, const char *image, unsigned n, int *options, void **values) {
    NEEDS_CONTEXT
    if (strstr(image, ".version")) return modules++, *module = MODULE, OK;
    for (unsigned k = 0; k < n; k++)
        if (options[k] == 5) strcpy(values[k], "line 7: no such instruction");
    return BAD_PTX;
}
int cuModuleGetFunction(P *function, P module, const char *name) {
    NEEDS_CONTEXT
    *function = (P)(0x1000 + strlen(name));
    return module == MODULE ? OK : BAD_HANDLE;
}
int cuModuleUnload(P module) {
    NEEDS_CONTEXT
    return modules--, module == MODULE ? OK : BAD_HANDLE;
}
int cuFuncSetAttribute(P function, int attribute, int value) {
    NEEDS_CONTEXT
    stub_dynamic = value;
    return function == (P)0x1001 && attribute == 8 ? OK : INVALID;
}
int cuEventCreate(P *event, unsigned flags) {
    NEEDS_CONTEXT
    return *event = (P)(0x5000 + ++events), OK;
}
int cuEventRecord(P event, P stream) {
    NEEDS_CONTEXT
    if (IS(stream, STREAM) && !HERE(stream)) return BAD_HANDLE;
    return event ? OK : BAD_HANDLE;
}
int cuEventSynchronize(P event) {
    NEEDS_CONTEXT
    return event ? OK : BAD_HANDLE;
}
int cuEventElapsedTime(float *time, P start, P end) {
    NEEDS_CONTEXT
    return *time = 2.5f, OK;
}
int cuEventElapsedTime_v2(float *time, P start, P end) {
    NEEDS_CONTEXT
    return *time = 2.5f, OK;
}
int cuEventDestroy_v2(P event) {
    NEEDS_CONTEXT
    return events--, event ? OK : BAD_HANDLE;
}
int cuPointerGetAttribute(void *data, int attribute, D address) {
    NEEDS_CONTEXT
    if (address < 4096) return INVALID;
    if (attribute == 2) *(unsigned *)data = 2; /* the kind: a device's */
    if (attribute == 9) *(int *)data = 0;      /* which */
    return OK;
}
int cuMemAllocAsync(D *address, size_t size, P stream) {
    if (!HERE(stream)) return stub_wrong++, BAD_HANDLE;
    if (size > (size_t)1 << 33) return MEMORY;
    *address = (D)aligned_alloc(256, (size + 255) / 256 * 256);
    return OK;
}
int cuMemFreeAsync(D address, P stream) { return free((P)address), OK; }
int cuMemsetD8Async(D to, unsigned char value, size_t size, P stream) {
    return memset((P)to, value, size), OK;
}
int cuMemcpyDtoHAsync_v2(P to, D from, size_t size, P stream) {
    return memcpy(to, (P)from, size), HERE(stream) ? OK : BAD_HANDLE;
}
int cuMemcpyHtoDAsync_v2(D to, P from, size_t size, P stream) {
    return memcpy((P)to, from, size), HERE(stream) ? OK : BAD_HANDLE;
}
int cuMemcpyDtoDAsync_v2(D to, D from, size_t size, P stream) {
    return memcpy((P)to, (P)from, size), HERE(stream) ? OK : BAD_HANDLE;
}
int cuLaunchKernel(P function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, P stream, P *parameters, P *extra) {
    stub_launches++;
    return gy == 1 && gz == 1 && by == 1 && bz == 1 && !extra && HERE(stream) ? OK : INVALID;
}
int cuGetProcAddress_v2(const char *name, P *address, int version, uint64_t flags, int *status) {
    char newer[200];
    P library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    snprintf(newer, sizeof newer, "%s_v2", name);
    *address = dlsym(library, newer);
    if (!*address) *address = dlsym(library, name);
    if (status) *status = !*address;
    return OK;
}
int cuGetProcAddress(const char *name, P *address, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, address, version, flags, 0);
}
