import type { ChalkInstance } from 'chalk'
import type { Session } from './command.ts'

/** Chalk for this session, without colors if they are off. */
export async function paint(session: Session): Promise<ChalkInstance> {
  const { Chalk } = await import('chalk')
  return new Chalk({ level: session.color ? 1 : 0 })
}
