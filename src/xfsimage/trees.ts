/** The btrees of XFS and the forks of inodes, by name: for `XfsImage.dump` and `extents`. */
export { isAgTree, type TreeName, treeNames } from '../format/trees.ts'
export { FORK_NAMES, type ForkName } from '../inode/inode.ts'
