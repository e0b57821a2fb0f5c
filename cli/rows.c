/* The vCPU process sets bits, the monitor writes names. Several runs may write to one file. */
#include "cli/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "translator/insn_table.h"

uint8_t *rows_create(struct arena *arena) { return arena_alloc(arena, insn_row_count / 8 + 1, 8); }

int rows_append(const uint8_t *rows, const char *path) {
    char id[INSN_ROW_ID_MAX];
    FILE *file = fopen(path, "ae");
    if (!file)
        return -errno;
    for (unsigned i = 0; i < insn_row_count; i++) {
        if (!(rows[i >> 3] >> (i & 7) & 1))
            continue;
        insn_row_id(&insn_rows[i], id);
        fprintf(file, "%s\n", id);
    }
    int written = ferror(file) ? EIO : 0;
    return fclose(file) ? -errno : -written;
}
