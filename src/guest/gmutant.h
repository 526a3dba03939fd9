// Seeded bugs for the negative controls of the dirty-log oracles: each build leaves one kind of write unlogged.
#ifndef GUEST_GMUTANT_H
#define GUEST_GMUTANT_H

#ifdef VRINGD_MUTANT_LOG_PAYLOAD
#define LOG_PAYLOAD 0
#else
#define LOG_PAYLOAD 1
#endif
#ifdef VRINGD_MUTANT_LOG_FRAMES
#define LOG_FRAMES 0
#else
#define LOG_FRAMES 1
#endif
#ifdef VRINGD_MUTANT_LOG_HEADER
#define LOG_HEADER 0
#else
#define LOG_HEADER 1
#endif
#ifdef VRINGD_MUTANT_LOG_NUMBUF
#define LOG_NUMBUF 0
#else
#define LOG_NUMBUF 1
#endif
#ifdef VRINGD_MUTANT_LOG_USEDELEM
#define LOG_USEDELEM 0
#else
#define LOG_USEDELEM 1
#endif
#ifdef VRINGD_MUTANT_LOG_USEDIDX
#define LOG_USEDIDX 0
#else
#define LOG_USEDIDX 1
#endif
#ifdef VRINGD_MUTANT_LOG_EVENT
#define LOG_EVENT 0
#else
#define LOG_EVENT 1
#endif
#ifdef VRINGD_MUTANT_LOG_PDESC
#define LOG_PDESC 0
#else
#define LOG_PDESC 1
#endif
#ifdef VRINGD_MUTANT_LOG_PFIRST
#define LOG_PFIRST 0
#else
#define LOG_PFIRST 1
#endif
// And of the ledger's: what is saved counts only when it is overwritten; the end is told only when all is shown.
#ifdef VRINGD_MUTANT_LEDGER_SAVED
#define LEDGER_SAVED 0
#else
#define LEDGER_SAVED 1
#endif
#ifdef VRINGD_MUTANT_LEDGER_END
#define LEDGER_END 0
#else
#define LEDGER_END 1
#endif

#endif
