import { setAttributes } from '../../attr/setattr.ts'
import { truncate } from '../../data/fallocate.ts'
import { XfsError } from '../../errors.ts'
import { DIFLAGS } from '../../format/dinode.ts'
import type { Inode } from '../../inode/inode.ts'
import { createFile } from '../../namespace/namespace.ts'
import { resolve } from '../../namespace/resolve.ts'
import { unescapeBytes } from '../../util/escape.ts'
import { atoi, parseInteger } from '../../util/numbers.ts'
import { CallError } from '../errno.ts'
import {
  flagsText,
  type IoCommand,
  type IoSession,
  type OpenFile,
  type OpenFlags,
  type OptionRows,
} from '../session.ts'
import { stat } from './stat.ts'

const DEFAULT_MODE = 0o600
const UMASK = 0o022

/** Opening and closing files. */
const open: IoCommand = {
  name: 'open',
  alias: 'o',
  args: '[-acdrstxRTPL] [-m mode] [path]',
  describe: 'open the file specified by path',
  help: `
 Opens a file of the image and makes it the current one. Without arguments: prints
 stat of the current file.
 -a  append only          -d  direct (no effect here)   -f, -c  create it
 -m  mode of a new file (default 0600)   -n  non-blocking (no effect here)
 -r  read only            -s  synchronous (no effect here)
 -t  truncate to 0        -P, -L  a path only; do not follow a link
`,
  least: 0,
  anywhere: true,
  once: true,
  run(session, argv) {
    if (argv.length === 1) {
      if (session.current) return stat.run(session, argv)
      session.fail("no files are open, try 'help open'\n")
      return false
    }
    const request: OpenRequest = { flags: {}, mode: DEFAULT_MODE }
    const operands = session.take(open, argv, openOptions, request)
    if (operands === undefined) return false
    const [path] = operands
    if (path === undefined || operands.length !== 1) {
      session.usage(open)
      return false
    }
    const { flags, mode } = request
    if ((flags.path || flags.noFollow) && Object.keys(flags).some((name) => name !== 'path' && name !== 'noFollow')) {
      session.fail('-P and -L are incompatible with the other options\n')
      return true
    }
    openFile(session, path, flags, mode)
    return false
  },
}

interface OpenRequest {
  readonly flags: { -readonly [Name in keyof OpenFlags]: OpenFlags[Name] }
  mode: number
}

const setFlag =
  (name: keyof OpenFlags) =>
  ({ flags }: OpenRequest): void => {
    flags[name] = true
  }

const openOptions: OptionRows<OpenRequest> = {
  a: setFlag('append'),
  c: setFlag('create'),
  d: setFlag('direct'),
  f: setFlag('create'),
  'm:': (request, value, session) => {
    const mode = parseMode(value)
    if (mode === undefined) return session.refuse(`non-numeric mode -- ${value}`)
    request.mode = mode
    return true
  },
  n: setFlag('nonBlock'),
  r: setFlag('readOnly'),
  s: setFlag('sync'),
  t: setFlag('truncate'),
  x: setFlag('realtime'),
  F: () => {},
  L: setFlag('noFollow'),
  P: setFlag('path'),
  R: setFlag('realtime'),
  T: (_request, _value, session) => {
    session.usage(open)
    return false
  },
}

export const parseMode = (text: string): number | undefined => {
  const parsed = parseInteger(text)
  return parsed && Number(parsed.value & 0o7777n)
}

/** Open a file and make it the current one. @returns false after a message */
export function openFile(session: IoSession, name: string, flags: OpenFlags, mode = DEFAULT_MODE): boolean {
  let file: OpenFile | undefined
  const done = session.attempt(name, () => {
    file = opened(session, name, flags, mode)
  })
  if (!done || !file) return false
  session.files.push(file)
  session.current = file
  return true
}

/** The bytes of a path, which may contain `\xHH`. */
const pathOf = (text: string): Uint8Array => unescapeBytes(text)

function opened(session: IoSession, name: string, flags: OpenFlags, mode: number): OpenFile {
  const inode = found(session, name, flags) ?? made(session, name, mode)
  if (inode.isSymlink && flags.path !== true) throw new XfsError('LOOP', 'a symbolic link')
  const writable = flags.readOnly !== true && flags.path !== true && !inode.isDirectory
  if (writable && (inode.flags & DIFLAGS.immutable) !== 0) throw new CallError('PERM')
  if (writable && (inode.flags & DIFLAGS.append) !== 0 && (flags.append !== true || flags.truncate === true))
    throw new CallError('PERM')
  if (flags.truncate && inode.isRegular) {
    if (!session.volume.writable) throw new CallError('ROFS')
    truncate(session.volume, inode.ino, 0)
  }
  if (flags.realtime && writable) throw new CallError('INVAL')
  return { name, ino: inode.ino, flags, writable }
}

function found(session: IoSession, name: string, flags: OpenFlags): Inode | undefined {
  try {
    return resolve(session.volume, pathOf(name), { follow: flags.noFollow !== true })
  } catch (error) {
    if (flags.create && error instanceof XfsError && error.code === 'NOENT') return undefined
    throw error
  }
}

function made(session: IoSession, name: string, mode: number): Inode {
  if (!session.volume.writable) throw new CallError('ROFS')
  return createFile(session.volume, pathOf(name), mode & ~UMASK)
}

/** The inode of another file that a command names. @returns undefined after a message */
export function otherFile(session: IoSession, name: string): number | undefined {
  let ino: number | undefined
  session.attempt(name, () => {
    ino = resolve(session.volume, pathOf(name)).ino
  })
  return ino
}

const close: IoCommand = {
  name: 'close',
  alias: 'c',
  describe: 'close the current open file',
  least: 0,
  most: 0,
  once: true,
  readOnly: true,
  run(session) {
    const index = session.files.indexOf(session.file)
    session.files.splice(index, 1)
    session.current = session.files[Math.min(index, session.files.length - 1)]
    listFiles(session)
  },
}

/** Print the table of open files, with the current one in brackets. */
function listFiles(session: IoSession): void {
  for (const [i, file] of session.files.entries()) {
    const number = String(i).padStart(3, '0')
    const place = file === session.current ? `[${number}]` : ` ${number} `
    const flags = flagsText(file.flags, true)
    const values = { file: file.name, index: i, current: file === session.current, flags: flags.split(',') }
    session.result('openFile', values, `${place} ${file.name.padEnd(14)} (xfs,${flags})`)
  }
}

const file: IoCommand = {
  name: 'file',
  alias: 'f',
  args: '[N]',
  describe: 'set the current file',
  least: 0,
  most: 1,
  once: true,
  readOnly: true,
  run(session, [, word]) {
    if (word !== undefined) {
      const number = atoi(word)
      const chosen = session.files[number]
      if (!chosen) {
        session.print(`value ${number} is out of range (0-${session.files.length - 1})\n`)
        session.exitCode = 1
        return
      }
      session.current = chosen
    }
    listFiles(session)
  },
}

const print: IoCommand = {
  name: 'print',
  alias: 'p',
  describe: 'list current open files and memory mappings',
  least: 0,
  most: 0,
  anywhere: true,
  once: true,
  readOnly: true,
  run: listFiles,
}

const chmod: IoCommand = {
  name: 'chmod',
  args: '-r | -w',
  describe: 'change the read/write permissions on the currently open file',
  help: '\n -r  0444: no write permission\n -w  0664: owner and group may\n\n',
  least: 1,
  most: 1,
  once: true,
  run(session, argv) {
    const { letters, operands, faults } = session.options(argv, 'rw')
    if (operands.length > 0 || faults.length > 0) {
      session.usage(chmod, false)
      return
    }
    const mode = letters.has('w') ? 0o664 : 0o444
    session.attempt('fchmod', () => {
      if (!session.volume.writable) throw new CallError('ROFS')
      setAttributes(session.volume, session.file.ino, { permissions: mode })
    })
  },
}

const quit: IoCommand = {
  name: 'quit',
  alias: 'q',
  describe: 'exit the program',
  least: 0,
  most: 0,
  anywhere: true,
  once: true,
  readOnly: true,
  run: () => true,
}

export const fileCommands: readonly IoCommand[] = [open, close, file, print, chmod, quit]
