// "Animate a person from one image" is the first card of this pack's templates. The server lists a pack's files as the
// file system happens to hold them, and the page shows them in that order.
// Only where all cards are this pack's: in lists of many packs, and where the page is built otherwise, nothing changes.
const CARD = "template-workflow-LEO - ";
const FIRST = `${CARD}Animate a person from one image`;
const FOREIGN = `[data-testid^="template-workflow-"]:not([data-testid^="${CARD}"])`;

// Not an extension: a second copy of the pack would be a second one of that name, which the page refuses.
if (!document.getElementById("leo-templates")) {
  const style = document.createElement("style");
  style.id = "leo-templates";
  style.textContent = `:not(:has(> ${FOREIGN})) > [data-testid="${FIRST}"] { order: -1; }`;
  document.head.append(style);
}
