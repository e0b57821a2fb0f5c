/* Loading a guest: recognise the file, let its protocol place it, add the firmware tables and the
 * GDT of the entry state.
 *
 * No file or command line is copied anywhere before its place is known to be free guest RAM. */
#include "loader/loader.h"

#include <assert.h>

#include "loader/protocols.h"

#define MEMORY_MIN (2u << 20)

#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18
/* Flat, 4 GiB, DPL 0, accessed (SDM vol. 3A, 3.4.5). */
#define DESCRIPTOR_CODE 0x00cf9b000000ffffull
#define DESCRIPTOR_DATA 0x00cf93000000ffffull
#define ATTR_OF(descriptor) ((uint16_t)((descriptor) >> 40 & 0xf0ff))

static const uint64_t entry_gdt[] = {0, 0, DESCRIPTOR_CODE, DESCRIPTOR_DATA};

static int load_kernel(const struct image *image, const struct load_options *options,
                       struct place *place, struct load_result *result, struct error *error) {
    if (linux_recognise(image))
        return linux_load(image, options, place, result, error);
    if (multiboot_recognise(image))
        return multiboot_load(image, options, place, result, error);
    if (elf_recognise(image))
        return elf_load(image, options, place, result, error);
    return error_set(error,
                     "%s: not a kernel: no Linux setup header at offset 0x202, no Multiboot header "
                     "in the first 8192 bytes, no ELF magic at offset 0",
                     image->name);
}

int loader_load(const struct load_options *options, struct ram *ram, struct load_result *result,
                struct table_register *gdt, struct error *error) {
    if (ram->size < MEMORY_MIN)
        return error_set(error, "guest memory of %llu KiB is too small, %u KiB are needed",
                         (unsigned long long)ram->size >> 10, MEMORY_MIN >> 10);
    struct image image;
    struct place place;
    if (image_open(&image, options->kernel, error))
        return -1;
    *result = (struct load_result){0};
    place_init(&place, ram);
    int rc = load_kernel(&image, options, &place, result, error);
    image_close(&image);
    if (rc || acpi_write(&place, error) ||
        place_write(&place, PLACE_GDT, entry_gdt, sizeof entry_gdt, error))
        return -1;
    *gdt = (struct table_register){.base = PLACE_GDT, .limit = sizeof entry_gdt - 1};
    return 0;
}

static void enter_segment(struct cpu *cpu, enum segment_index index, uint16_t selector,
                          uint64_t descriptor) {
    struct segment *segment = &cpu->seg[index];
    *segment = (struct segment){
        .selector = selector, .attr = ATTR_OF(descriptor), .limit = UINT32_MAX, .usable = true};
    cpu_segment_changed(cpu, segment);
}

void loader_enter(struct cpu *cpu, const struct load_result *result,
                  const struct table_register *gdt) {
    assert(result->protocol != NULL);
    cpu->paging.cr0 = CR0_PE | CR0_ET;
    memcpy(cpu->gpr, result->gpr, sizeof cpu->gpr);
    cpu->eip = result->eip;
    cpu->gdt = *gdt;
    /* No protocol promises an IDT: until the guest loads its own, an exception is a shutdown. */
    cpu->idt = (struct table_register){0};
    for (unsigned i = 0; i < SEG_COUNT; i++)
        enter_segment(cpu, i, i == SEG_CS ? SELECTOR_CODE : SELECTOR_DATA,
                      i == SEG_CS ? DESCRIPTOR_CODE : DESCRIPTOR_DATA);
    cpu_set_eflags(cpu, FL_ONE, FL_ALL);
    cpu_update_mode(cpu, 0);
}
