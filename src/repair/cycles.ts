/** A formatted log begins this many cycles past the highest LSN, as with xfs_repair. */
export const CYCLES_AHEAD = 3
export const LAST_CYCLE = 0x7fffffff
