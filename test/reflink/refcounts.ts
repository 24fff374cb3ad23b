import { Cursor } from '../../src/btree/cursor.ts'
import { openTree } from '../../src/btree/roots.ts'
import { openFile } from '../../src/device/file.ts'
import { rootDirectory } from '../../src/namespace/resolve.ts'
import { walkTree } from '../../src/namespace/tree.ts'
import { mappedRuns } from '../../src/reflink/sharing.ts'
import { Volume } from '../../src/volume.ts'

/**
 * The refcount records of each file of an image, in file order: `start+length×owners`, in blocks,
 * with runs of one count merged. Equal for two images whose files share the same ranges, regardless
 * of the physical layout.
 */
export function refcountsAlongFiles(image: string): Record<string, string> {
  const volume = Volume.open(openFile(image, 'r'))
  try {
    const found: Record<string, string> = {}
    for (const { inode, path } of walkTree(rootDirectory(volume))) {
      if (!inode.isRegular) continue
      const runs: { start: number; length: number; owners: number }[] = []
      const add = (start: number, length: number, owners: number): void => {
        const last = runs.at(-1)
        if (last && last.start + last.length === start && last.owners === owners) last.length += length
        else if (length > 0) runs.push({ start, length, owners })
      }
      for (const { startoff, startblock, blockcount } of mappedRuns(inode)) {
        const from = volume.geometry.agbnoOf(startblock)
        let done = 0
        const cursor = new Cursor(openTree(volume, 'refcountbt', volume.geometry.agnoOf(startblock)))
        for (let more = cursor.lookup(from, 'le') || cursor.lookup(from, 'ge'); more; more = cursor.next()) {
          const rec = cursor.record()
          if (rec.cowflag === 1 || rec.startblock >= from + blockcount) break
          const start = Math.max(rec.startblock - from, done)
          const end = Math.min(rec.startblock + rec.blockcount - from, blockcount)
          if (end <= start) continue
          add(startoff + done, start - done, 1)
          add(startoff + start, end - start, rec.refcount)
          done = end
        }
        add(startoff + done, blockcount - done, 1)
      }
      found[Buffer.from(path).toString()] = runs
        .map(({ start, length, owners }) => `${start}+${length}×${owners}`)
        .join(' ')
    }
    return found
  } finally {
    volume.close()
  }
}
