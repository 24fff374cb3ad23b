import type { IoCommand, IoSession } from '../session.ts'

/** Name, arguments and description, as `help` shows them. */
const oneLine = (name: string, { args, describe }: IoCommand): string =>
  `${name} ${args === undefined ? '' : `${args} `}-- ${describe}\n`

export const help: IoCommand = {
  name: 'help',
  alias: '?',
  args: '[command]',
  describe: 'help for one or all commands',
  least: 0,
  most: 1,
  anywhere: true,
  once: true,
  readOnly: true,
  run(session: IoSession, [, word]) {
    if (word === undefined) {
      for (const command of session.commands) session.print(oneLine(command.name, command))
      session.print("\nUse 'help commandname' for extended help.\n")
      return
    }
    const command = session.find(word)
    session.print(command ? `${oneLine(word, command)}${command.help ?? ''}` : `command ${word} not found\n`)
  },
}
