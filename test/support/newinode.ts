import { allocInodes, initInode, type NewInode } from '../../src/inode/ialloc.ts'
import { heritage } from '../../src/inode/inherit.ts'
import { type Inode, openInode } from '../../src/inode/inode.ts'
import type { Transaction } from '../../src/tx/transaction.ts'

/** A new inode near `parent` that is in no directory. */
export function allocInode(tx: Transaction, parent: number, mode: number, options: Omit<NewInode, 'mode'> = {}): Inode {
  const [ino] = allocInodes(tx, parent, 1)
  if (ino === undefined) throw new Error('no inode')
  return initInode(tx, ino, { mode, ...options }, heritage(openInode(tx.volume, parent, tx)))
}
