import { attr3Layout } from './attributes.ts'
import { dir3Layout } from './directories.ts'
import { agfLayout, agflLayout, agiLayout, sbLayout } from './headers.ts'
import { inodeLayout } from './inodes.ts'
import type { Layout } from './items.ts'
import { dquotLayout, symlinkLayout } from './others.ts'

/** The layouts of all types of blocks except those of btrees. */

export const layouts = {
  sb: sbLayout,
  agf: agfLayout,
  agi: agiLayout,
  agfl: agflLayout,
  inode: inodeLayout,
  dir3: dir3Layout,
  attr3: attr3Layout,
  symlink: symlinkLayout,
  dqblk: dquotLayout,
} as const satisfies Record<string, Layout>
