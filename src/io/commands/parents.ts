import { type ParentPointer, parentPointers } from '../../attr/parent.ts'
import { XfsError } from '../../errors.ts'
import { type Inode, openInode } from '../../inode/inode.ts'
import { pathBelow, pathsOf } from '../../namespace/paths.ts'
import { escapeBytes, unescapeBytes } from '../../util/escape.ts'
import { named } from '../../util/json.ts'
import { wholeNumber } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import type { IoCommand, IoSession } from '../session.ts'

/** Print the names of a file, from its parent pointers. */
export const parent: IoCommand = {
  name: 'parent',
  args: '[-psz] [-b bufsize] [-i ino] [-n name] [ino gen]',
  describe: 'print parent inodes',
  help: `
 list the current file's parents and their filenames

 -b -- use this many bytes to hold parent pointer records
 -i -- Only show parent pointer records containing the given inode
 -n -- Only show parent pointer records containing the given filename
 -p -- list the current file's paths up to the root
 -s -- Print records in short format: ino/gen/namelen/filename
 -z -- print only the first path from the root

If ino and gen are supplied, use them instead.

`,
  least: 0,
  readOnly: true,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'b:i:n:psz')
    if (faults.length > 0 || (operands.length !== 0 && operands.length !== 2)) {
      session.usage(parent)
      return false
    }
    const given = (letter: string): string | undefined => letters.get(letter)?.[0]
    const numbers = [given('i'), ...operands].filter((text) => text !== undefined)
    const bad = numbers.find((text) => wholeNumber(text) === undefined)
    if (bad !== undefined) {
      session.fail(`Bad inode number '${bad}'.\n`)
      return true
    }
    const [onlyOf, onlyName] = [given('i'), given('n')]
    const isMeant = ({ ino, name }: ParentPointer): boolean =>
      (onlyOf === undefined || ino === wholeNumber(onlyOf)) &&
      (onlyName === undefined || Buffer.from(name).equals(unescapeBytes(onlyName)))
    session.attempt(session.file.name, () => {
      const inode = fileOf(session, operands)
      if (!session.volume.features.has('parent')) throw new CallError('UNSUPPORTED')
      if (inode.ino === session.volume.geometry.sb.rootino) {
        const text = letters.has('p') || letters.has('z') ? '/' : 'Root directory.'
        session.result('path', { path: '/' }, text)
        return
      }
      for (const pointer of parentPointers(inode)) {
        if (!isMeant(pointer)) continue
        if (!letters.has('p') && !letters.has('z')) {
          const { ino, gen, name } = pointer
          const values = { parent: ino, generation: gen, ...named('name', name) }
          session.result('parent', values, letters.has('s') ? shortLine(pointer) : lines(pointer))
          continue
        }
        const dir = pathsOf(session.volume, [pointer.ino]).get(pointer.ino)
        const path = dir && pathBelow(dir, pointer.name)
        if (path) session.result('path', named('path', path), escapeBytes(path))
        if (letters.has('z')) return
      }
    })
    return false
  },
}

/** The open file, or that with an inode number and generation. */
function fileOf(session: IoSession, [ino, gen]: readonly string[]): Inode {
  if (ino === undefined || gen === undefined) return session.inode()
  try {
    const inode = openInode(session.volume, Number(ino))
    if (inode.generation === Number(gen)) return inode
  } catch (error) {
    if (!(error instanceof XfsError)) throw error
  }
  throw new CallError('STALE')
}

const shortLine = ({ ino, gen, name }: ParentPointer): string => `${ino}:${gen}:${name.length}:${escapeBytes(name)}`

const lines = ({ ino, gen, name }: ParentPointer): string =>
  [
    `p_ino     = ${ino}`,
    `p_gen     = ${gen}`,
    `p_namelen = ${name.length}`,
    `p_name    = "${escapeBytes(name)}"`,
    '',
  ].join('\n')
