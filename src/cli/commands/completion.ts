import type { Command } from '../command.ts'

/** A completion for bash; zsh supports it with bashcompinit. */
const script = (names: readonly string[]): string => `# xfskit: source this, or put it where bash looks for completions.
if [ -n "\${ZSH_VERSION-}" ]; then autoload -Uz bashcompinit && bashcompinit; fi
_xfskit() {
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${names.join(' ')} --help --version' -- "\${COMP_WORDS[1]}"))
  elif [[ "\${COMP_WORDS[COMP_CWORD]}" == --* ]]; then
    COMPREPLY=($(compgen -W "$(xfskit "\${COMP_WORDS[1]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]+' | sort -u)" -- "\${COMP_WORDS[COMP_CWORD]}"))
  fi
}
complete -o default -F _xfskit xfskit
`

const completion: Command<object> = {
  command: 'completion',
  describe: 'print the completion for bash and zsh',
  examples: [['source <($0 completion)', 'complete commands and options in this shell']],
  builder: (yargs) => yargs,
  handler: (_args, { out, commands }) => out.raw(script(commands.map(({ name }) => name))),
}
export default completion
