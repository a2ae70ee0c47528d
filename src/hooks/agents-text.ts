/** Tells agents when and how to ask. The skill of the plugin has the same text. */
export const agentsText = `# Asking people with Forumbus

People answer your questions in their own inbox, also hours later. Ask there instead of guessing or stopping.

Ask when

- a decision is expensive to undo: data, money, an interface that others use, a release;
- two readings of the task lead to different work;
- you need a permission, a secret or a fact that only a person has.

Do not ask what the code, its tests or its documents answer.

\`\`\`sh
forumbus ask "Which region?" -o "eu-west-1: Where staging runs." -o us-east-1 --context "Both have capacity."
\`\`\`

- The command prints the answer. Exit code 75 says that nobody has answered yet: run the same command again, and it goes
  on waiting for the same question. Meanwhile, do what does not depend on the answer.
- Offer two to four options where you can, the recommended one first. Put what a person has to know into \`--context\`.
- \`--expires 8h --default "eu-west-1"\` names what you do if nobody answers. Exit code 3 says that it holds.
- Never make up an answer. A text that begins with \`Answer to q_\` in your context comes from Forumbus.
- \`forumbus inbox\` shows news that people have for you. If it speaks of open questions instead, add \`--agent agent\`.
- Report with \`forumbus note "..."\` on the way, and with \`forumbus complete "..." -e commit:4f2a91c\` at the end.
`;
