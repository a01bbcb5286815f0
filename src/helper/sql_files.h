/* helper/sql_files: SQLite's own file layer over two descriptors that the host opened, instead of paths: behind the
 * wall there is no file system.  Process-wide; call it once, before the database is opened. */
#ifndef HELPER_SQL_FILES_H
#define HELPER_SQL_FILES_H

#include <stdbool.h>

#define SQL_FILES_NAME "/database" /* what to open */

bool sql_files_install(int database, int journal);
/* Other descriptors of the same two files. */
void sql_files_use(int database, int journal);
/* Somebody else removed the journal: what stands in a new one cannot be seen from here. */
bool sql_files_stale(void);

#endif
