import type { ProblemId } from '../../check/problems.ts'

/** Problems of the content of a directory, which is then written anew. */
export const directoryProblems: readonly ProblemId[] = [
  'dir.block',
  'dir.index',
  'dir.name',
  'dir.duplicate',
  'dir.dot',
  'dir.entry',
  'dir.ftype',
]

/** Problems of an attribute fork, which is then written anew. */
export const attributeProblems: readonly ProblemId[] = ['attr.block', 'attr.space', 'attr.value']

/** Problems that these steps repair. */
export const nameProblems: readonly ProblemId[] = [
  ...directoryProblems,
  ...attributeProblems,
  'dir.twice',
  'dir.parent',
  'symlink.block',
  'parent.pointers',
  'inode.nlink',
  'inode.unreachable',
]
