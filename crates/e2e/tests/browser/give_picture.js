// Draws a picture, and gives it to the page as a file. The body of a function: its arguments are the file's
// name, and `paste` or `drop`.
const [name, how] = arguments;
const canvas = document.createElement("canvas");
[canvas.width, canvas.height] = [640, 480];
const context = canvas.getContext("2d");
const sky = context.createLinearGradient(0, 0, 0, 480);
[["0", "#f7c873"], ["0.55", "#e58f65"], ["1", "#7d5a84"]].forEach(([at, color]) => sky.addColorStop(at, color));
context.fillStyle = sky;
context.fillRect(0, 0, 640, 480);
context.fillStyle = "#fff3d6";
context.beginPath(); context.arc(430, 190, 62, 0, 7); context.fill();
[["#4d4a6b", 300, 90], ["#2f3551", 370, 60]].forEach(([color, base, height], index) => {
    context.fillStyle = color;
    context.beginPath(); context.moveTo(0, 480);
    for (let x = 0; x <= 640; x += 8) context.lineTo(x, base - height * Math.sin(x / (90 + 40 * index) + index));
    context.lineTo(640, 480); context.fill();
});
return new Promise((done) => canvas.toBlob((blob) => {
    const data = new DataTransfer();
    data.items.add(new File([blob], name, { type: "image/png" }));
    const event = how === "paste"
        ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
    done();
}, "image/png"));
