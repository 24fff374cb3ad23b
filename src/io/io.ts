import { bmap } from './commands/bmap.ts'
import { copyRange } from './commands/copyrange.ts'
import { spaceCommands } from './commands/fallocate.ts'
import { fiemap } from './commands/fiemap.ts'
import { fileCommands } from './commands/files.ts'
import { fsmap } from './commands/fsmap.ts'
import { attributeCommands } from './commands/fsxattr.ts'
import { help } from './commands/help.ts'
import { parent } from './commands/parents.ts'
import { seek } from './commands/seek.ts'
import { shareCommands } from './commands/share.ts'
import { statusCommands } from './commands/stat.ts'
import { syncCommands } from './commands/sync.ts'
import { transferCommands } from './commands/transfer.ts'
import { type IoCommand, IoSession, type IoSessionOptions } from './session.ts'

/**
 * The commands of xfs_io on the files of an image. Each parses its arguments and makes one library
 * call. The session (session.ts) has the open files. All state of the image is kept in its volume.
 */

/** Every command, by name. */
const ioCommands: readonly IoCommand[] = [
  ...attributeCommands,
  ...fileCommands,
  ...shareCommands,
  ...spaceCommands,
  ...statusCommands,
  ...syncCommands,
  ...transferCommands,
  bmap,
  copyRange,
  fiemap,
  fsmap,
  help,
  parent,
  seek,
].sort((a, b) => (a.name < b.name ? -1 : 1))

/** A session without open files; `openFile` opens one. */
export const ioSession = (options: IoSessionOptions): IoSession => new IoSession(options, ioCommands)

/** Do all of these lines leave the image unchanged? (Unknown commands do.) */
export function changesNothing(lines: Iterable<string>): boolean {
  for (const line of lines) {
    const [name, ...words] = line.split(' ').filter((word) => word !== '')
    const command = ioCommands.find((known) => known.name === name || known.alias === name)
    if (!command || command.readOnly) continue
    const onlyLooks =
      words.every((word) => word.startsWith('-')) && ['extsize', 'cowextsize', 'label', 'open'].includes(command.name)
    if (command.name === 'label' && words.length > 0) return false
    if (command.name === 'open' && !words.some((word) => /^-[^-]*[ctf]/.test(word))) continue
    if (!onlyLooks) return false
  }
  return true
}

export { openFile, parseMode } from './commands/files.ts'
export type { IoRecord, IoSession, OpenFlags } from './session.ts'
