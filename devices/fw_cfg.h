/* fw_cfg, QEMU's way of telling firmware about the machine (QEMU, docs/specs/fw_cfg.rst): an item
 * is selected by a word to port 0x510, its bytes are read one by one from 0x511, zeros behind its
 * end. There is no DMA interface.
 *
 * Items: signature, interface revision, memory size, one processor, no boot menu, and a directory
 * with one file, etc/e820, the memory map. */
#ifndef RING3_DEVICES_FW_CFG_H
#define RING3_DEVICES_FW_CFG_H

#include <stdint.h>

#include "base/arena.h"
#include "runtime/bus.h"

struct fw_cfg;

struct fw_cfg *fw_cfg_create(struct arena *arena, struct bus *bus, uint64_t ram_bytes);

#endif
