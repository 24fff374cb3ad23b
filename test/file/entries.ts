import { insertEntry, requireFree } from '../../src/dir/dir.ts'
import type { Inode } from '../../src/inode/inode.ts'
import type { Transaction } from '../../src/tx/transaction.ts'

/** Add an entry for a new file; the name must be free. */
export function addEntry(tx: Transaction, dir: Inode, name: Uint8Array, ino: number, ftype: number): void {
  requireFree(dir, name, tx)
  insertEntry(tx, dir, name, ino, ftype)
}
