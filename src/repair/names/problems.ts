import type { ProblemId } from '../../check/problems.ts'

/** Problems that these steps repair. */
export const nameProblems: readonly ProblemId[] = [
  'dir.block',
  'dir.index',
  'dir.name',
  'dir.duplicate',
  'dir.dot',
  'dir.entry',
  'dir.ftype',
  'dir.twice',
  'dir.parent',
  'attr.block',
  'attr.space',
  'attr.value',
  'symlink.block',
  'parent.pointers',
  'inode.nlink',
  'inode.unreachable',
]
