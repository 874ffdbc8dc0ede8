export default {
  // Without a named language a block is a drawing or a command: nothing guesses its colours.
  configureHljs: hljs => hljs.configure({ languages: [] }),
}
