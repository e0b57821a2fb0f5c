/* The page's files as bytes of the program, and their table. The assembler finds them by -I. */
    .macro web_file name, type
    .section .rodata.web, "a"
7771:
    .incbin "\name"
7772:
    .section .rodata.str1.1, "aMS", @progbits, 1
7773:
    .asciz "\name"
7774:
    .asciz "\type"
    .section .data.rel.ro.local.web, "aw"
    .quad 7773b, 7774b, 7771b, 7772b
    .endm

    .section .data.rel.ro.local.web, "aw"
    .balign 8
    .globl web_files
web_files:
    web_file "index.html", "text/html; charset=utf-8"
    web_file "style.css", "text/css; charset=utf-8"
    web_file "panels.css", "text/css; charset=utf-8"
    web_file "icon.svg", "image/svg+xml"
    web_file "app.js", "text/javascript; charset=utf-8"
    web_file "console.js", "text/javascript; charset=utf-8"
    web_file "cpu.js", "text/javascript; charset=utf-8"
    web_file "format.js", "text/javascript; charset=utf-8"
    web_file "fragments.js", "text/javascript; charset=utf-8"
    web_file "listing.js", "text/javascript; charset=utf-8"
    web_file "live.js", "text/javascript; charset=utf-8"
    web_file "map.js", "text/javascript; charset=utf-8"
    web_file "rates.js", "text/javascript; charset=utf-8"
    web_file "vitals.js", "text/javascript; charset=utf-8"
    web_file "windows.js", "text/javascript; charset=utf-8"
    .section .data.rel.ro.local.web, "aw"
web_files_end:
    .section .rodata, "a"
    .balign 4
    .globl web_file_count
web_file_count:
    .long (web_files_end - web_files) / 32
    .section .note.GNU-stack, "", @progbits
