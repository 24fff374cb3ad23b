import { type IoRecord, type IoSession, ioSession, type OpenFlags, openFile } from '../io/io.ts'
import type { Volume } from '../volume.ts'

export { changesNothing, type IoRecord, type OpenFlags, parseMode } from '../io/io.ts'

export interface IoOptions {
  readonly print: (text: string) => void
  readonly warn: (text: string) => void
  /** Takes results as records; without it they are lines of text, for `print`. */
  readonly result?: (record: IoRecord) => void
  /** Reads a file of the host, for `pwrite -i`. @throws Error with the message of the host */
  readonly readHost?: (path: string) => Uint8Array
  /** The name in messages (default: xfs_io). */
  readonly program?: string
}

/** A session of xfs_io: open files, one of them current, and commands for it. */
export interface Io {
  /**
   * Open a file of the image, by its path.
   * @returns false after a message if that is not possible
   */
  open(path: string, flags?: OpenFlags, mode?: number): boolean
  /**
   * Run a command. Its output goes to `print`, its messages to `warn`.
   * @param iterate  for each open file, in place of the current one
   * @returns true if it ends the session
   */
  run(line: string, iterate?: boolean): boolean
  /** The exit status of xfs_io. */
  readonly exitCode: number
  /** A command failed because the device did. */
  readonly deviceFailed: boolean
}

/** @param guard  is called for each command: it refuses one while the image is busy */
export function openIo(volume: Volume, { print, warn, ...options }: IoOptions, guard: <T>(run: () => T) => T): Io {
  const session: IoSession = ioSession({ ...options, volume, out: print, error: warn })
  return {
    open: (path, flags = {}, mode) => guard(() => openFile(session, path, flags, mode)),
    run: (line, iterate = false) => guard(() => session.run(line, iterate)),
    get exitCode() {
      return session.exitCode
    },
    get deviceFailed() {
      return session.deviceFailed
    },
  }
}
