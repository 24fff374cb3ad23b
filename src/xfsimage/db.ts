import { runLine } from '../db/commands.ts'
import { openImage } from '../db/image.ts'
import { DbSession, type DbSessionOptions, Refusal } from '../db/session.ts'
import type { Device } from '../device/device.ts'
import { refuseMounted } from '../device/inuse.ts'
import { XfsError } from '../errors.ts'
import { type ChangeOptions, changeTarget, readTarget, type Worked } from './edit.ts'
import { type HostTarget, hostPathOf, isHostTarget } from './host.ts'

export { describe } from '../db/describe.ts'
export { NotXfs } from '../db/image.ts'
export { Refusal } from '../db/session.ts'

export interface DbOptions
  extends ChangeOptions,
    Pick<DbSessionOptions, 'print' | 'warn'>,
    Partial<Pick<DbSessionOptions, 'program' | 'json' | 'lines'>> {
  /** The commands that change the image; without verification and beside its log. */
  readonly expert?: boolean
  /** Refuse to write. */
  readonly readOnly?: boolean
  /** Continue with a secondary superblock, or another magic number. */
  readonly force?: boolean
  /** Do not refuse a mounted filesystem. */
  readonly mounted?: boolean
  /** The image's name in messages. */
  readonly name?: string
}

/** A session of xfs_db. */
export interface Db {
  /** Run a command. Its output goes to `print`. @returns 'quit' after that command */
  run(line: string): 'quit' | undefined
  /** An unknown command, or wrong arguments, were given. */
  readonly misused: boolean
  /** The exit status of xfs_db. */
  readonly exitCode: number
  /** What a dry run would write, in bytes from the start of the filesystem. */
  readonly changes: Worked['changes']
}

/**
 * Look at the structures of an image, and with `expert` change them, with the commands of xfs_db.
 * It takes images that `XfsImage.open` refuses, and does not look at the log: damage is its
 * purpose.
 * @param keep  whether a result is a success; after a failure an `output` is not written
 * @throws NotXfs, Refusal (no superblock can be used), XfsError BUSY, NOENT, IO; what `use` throws
 */
export async function openDb<T>(
  target: HostTarget | Device,
  options: DbOptions,
  use: (db: Db) => T | Promise<T>,
  keep?: (result: T) => boolean,
): Promise<T> {
  const { expert = false, readOnly = false, force = false, mounted = false, name = '', print, warn, ...rest } = options
  const { program = 'xfs_db', json = false, lines = () => undefined, ...change } = rest
  if (!mounted && isHostTarget(target)) refuseMounted(hostPathOf(target), { readOnly: true })
  const work = (device: Device, changes: Worked['changes'] = []): T | Promise<T> => {
    const { geometry, complaints, exitCode } = opened(device, force)
    for (const complaint of complaints) warn(`${program}: ${complaint}\n`)
    const settings = { device, geometry, program, image: name, expert, readOnly, json, print, warn, lines }
    const session = new DbSession(settings)
    return use({
      run: (line) => runLine(session, line),
      get misused() {
        return session.misused
      },
      get exitCode() {
        return session.exitCode || exitCode
      },
      changes,
    })
  }
  // Only expert mode changes the image; reading needs no lock and no write permission.
  if (!expert || readOnly) return readTarget(target, change, work)
  return changeTarget(target, change, ({ device, changes }) => work(device, changes), keep)
}

function opened(device: Device, force: boolean): ReturnType<typeof openImage> {
  try {
    return openImage(device, { force })
  } catch (error) {
    throw error instanceof XfsError ? new Refusal(error.message) : error
  }
}
