/* Loading firmware: see firmware.h. */
#include "loader/firmware.h"

#include <stdlib.h>

#include "loader/image.h"

static int check_size(const struct image *image, struct error *error) {
    if (image->size > ROM_SIZE_MAX)
        return error_set(error, "%s: %llu KiB are too large for firmware, %u KiB is the most",
                         image->name, (unsigned long long)image->size >> 10, ROM_SIZE_MAX >> 10);
    if (image->size % FIRMWARE_UNIT != 0)
        return error_set(error, "%s: not firmware: %#llx bytes are no multiple of %u KiB",
                         image->name, (unsigned long long)image->size, FIRMWARE_UNIT >> 10);
    return 0;
}

static int copy(const struct image *image, struct ram *ram, struct error *error) {
    uint8_t *bytes = malloc(image->size);
    if (!bytes)
        return error_set(error, "%s: no host memory for %llu KiB", image->name,
                         (unsigned long long)image->size >> 10);
    int rc = image_read(image, 0, bytes, image->size, "the firmware", error);
    if (rc == 0) {
        rc = ram_add_rom(ram, bytes, image->size);
        if (rc != 0)
            error_set(error, "%s: no place for the firmware: %s", image->name, strerror(-rc));
    }
    free(bytes);
    return rc == 0 ? 0 : -1;
}

int firmware_load(const char *path, struct ram *ram, struct error *error) {
    struct image image;
    if (image_open(&image, path, error))
        return -1;
    int rc = check_size(&image, error);
    if (rc == 0)
        rc = copy(&image, ram, error);
    image_close(&image);
    return rc;
}
