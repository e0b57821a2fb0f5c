# A session with gdb as a page shows it, indented by four blanks: commands become "> COMMAND", what gdb
# says stays.
/^    \(gdb\) / { inside = 1; print "> " substr($0, 11); next }
!/^    / { inside = 0 }
inside { print substr($0, 5) }
