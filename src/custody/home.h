// Custody's homes beside the keeper's memory. Over an exec: the image is inherited, and so is every descriptor, by its number. Over the keeper's
// end: a service manager's store has both; a descriptor's name there is its number here.
#ifndef CUSTODY_HOME_H
#define CUSTODY_HOME_H

#include "custody/image.h"

enum home { HOME_OWN, HOME_EXEC, HOME_STORE };

// What an earlier keeper has left for this process; HOME_OWN: nothing, or nothing of use. Then c is empty, and k is as it was.
enum home home_load(struct custody *c, struct custody_keeper *k);
// Be that program, with all of it. Comes back if it can't be: nothing has changed.
void home_exec(const struct custody *c, const struct custody_keeper *k, int exe, char **argv);
bool home_has_store(void); // there is a service manager, and it does not say that it keeps nothing
void home_store(const struct custody *c, const struct custody_keeper *k); // and wait until it has it; a failure is logged
// What was loaded from there serves: nobody will have to begin with it once more.
void home_unstore(void);

#endif
